"""Reading a search-space file, and its errors."""
