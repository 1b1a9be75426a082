"""Commands for python-openstackclient, which ask the look-up API."""
