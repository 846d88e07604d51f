"""A page that shows people how a call list, or a batch call, went. Internal."""
