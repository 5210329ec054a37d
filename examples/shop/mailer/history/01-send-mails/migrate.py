"""Makes the table what this version wants it to be."""

from post import Post

if __name__ == "__main__":
    Post().migrate()
    print("the table of mails is ready")
