"""Puts mails into the table: python3 fill.py 300"""

import sys

from post import Post

if __name__ == "__main__":
    Post().fill(int(sys.argv[1]))
    print(f"{sys.argv[1]} mails are to be sent")
