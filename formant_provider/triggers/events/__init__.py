"""How the event trigger reads what webhooks have brought. Internal."""
