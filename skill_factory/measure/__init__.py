"""What a trained model's responses are worth: accuracy, use of the skills, text."""
