"""`python -m anchorbench`."""

from anchorbench.cli import main

if __name__ == "__main__":
    main()
