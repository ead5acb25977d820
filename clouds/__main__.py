"""`python -m clouds`, and `accelerate launch -m clouds` on several devices."""

from clouds.cli import main

if __name__ == "__main__":
    main()
