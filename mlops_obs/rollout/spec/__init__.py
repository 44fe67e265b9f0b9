"""What a person writes to ship a revision: the document, its checks, its schema and its lint."""
