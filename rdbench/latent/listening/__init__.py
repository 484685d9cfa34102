"""What is made of a continuous latent to be listened to, with numbers beside it."""
