"""What a run costs, said in advance from its layout and configuration alone: memory, files, bytes, hours."""
