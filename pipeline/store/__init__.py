"""The store: database tables, frame files and everything that reads or writes them."""
