"""The methods of the hook that send requests. Internal: they are used through the hook."""
