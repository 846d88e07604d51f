"""What the vendor's pages leave open, as questions to the API, and how each is answered."""
