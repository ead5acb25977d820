"""Keeps the model libraries' own progress bars and remarks off the terminal. It hides no error."""

import logging


def silence_libraries() -> None:
    """Turn off the bars diffusers and transformers draw while they load, and their remarks below a warning."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    for name in ("timm", "open_clip"):
        logging.getLogger(name).setLevel(logging.ERROR)
