"""What the generated SLO rules cost and how right they are, beside rules of Sloth's and Pyrra's shape."""
