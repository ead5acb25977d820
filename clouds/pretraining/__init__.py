"""Learning of the miniature foundation models: from images, captions and object masks, never from class labels."""
