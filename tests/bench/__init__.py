"""`make bench`: proxies side by side on one machine, in one run, with one upstream. Not part of `make test`."""
