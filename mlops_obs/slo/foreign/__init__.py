"""SLO documents of other tools, in and out: Sloth, Pyrra, OpenSLO. Pure: parsed documents in, documents and losses out."""
