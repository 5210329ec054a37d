"""Waits until every mail is sent, and says who sent how many."""

import time

from post import Post


def main():
    post = Post()
    while post.next():
        time.sleep(0.1)
    by, twice = post.report()
    for version, count in by.items():
        print(f"{count} mails sent by {version}")
    print(f"{twice} mails sent twice")


if __name__ == "__main__":
    main()
