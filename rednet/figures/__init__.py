"""Pictures for a paper: of the published figures, of the recipe, and of what a network computes."""
