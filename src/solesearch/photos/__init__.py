"""From folders, an official tree, an archive or labels.csv to checked, split, decoded photos."""
