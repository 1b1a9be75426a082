"""What regions say to each other, as values and as signed bytes. Pure."""
