"""Makes the site's pages: `python -m docs.make build` (`make docs` then renders them into site/)."""
