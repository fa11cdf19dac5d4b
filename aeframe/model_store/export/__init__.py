"""Write the functions of a trained model as programs that run without aeframe."""
