"""Collectors: pure arithmetic from what a source says to readings. They never import each other."""
