"""The latent explorer: a local page on the codes of a trained model, and their export as one Parquet file."""
