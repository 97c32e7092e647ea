"""Chat: sessions, categories, routes, acknowledgements, and plans that a model writes."""
