"""Reading a finished run back: image, records, fields and metadata; what is wrong, where, and how it is made good."""
