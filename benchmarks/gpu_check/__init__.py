"""What is to be known of RedNet on a GPU, in the ten minutes for which one is lent."""
