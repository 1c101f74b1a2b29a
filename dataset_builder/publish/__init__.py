"""Put a dataset folder on the Hub: what may go, in which order, and how something is taken down again."""
