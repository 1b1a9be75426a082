"""Reads the metadata service as guests do; prints what each finds as ami-id.

    read_metadata.py LIBRARIES < URLS

LIBRARIES is the directory that has cloud-init's own code. The rules of Facter
and of Ohai are written down here anew, from their documentation: which paths
they ask for, and what they make of what is answered.
"""

import json
import sys
import urllib.error
import urllib.request

sys.path.append(sys.argv[1])

from cloudinit.sources.helpers import ec2, openstack


def cloud_init(url):
    """Let cloud-init read it: OpenStack's metadata, and that of EC2 in it."""
    reader = openstack.MetadataReader(url)
    # By itself it asks the one address that guests have for that.
    reader._read_ec2_metadata = lambda: ec2.get_instance_metadata(
        metadata_address=url
    )
    return reader.read_v2()["ec2-metadata"]["ami-id"]


def get(url):
    """Give what is at a URL; None if nothing is."""
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def facter(url):
    """Go through latest/meta-data, as Facter does for ec2_metadata."""
    return walked(f"{url}/latest/meta-data/")["ami-id"]


def walked(url):
    """Give all that lies below: what ends with a slash is a directory."""
    found = {}
    for line in (get(url) or "").splitlines():
        number, equals, _ = line.partition("=")
        name = f"{number}/" if equals and number.isdigit() else line
        deeper = name.endswith("/")
        found[name.rstrip("/")] = (walked if deeper else get)(url + name)
    return found


def ohai(url):
    """Ask for the newest version that Ohai knows, and make names of keys."""
    there = (get(f"{url}/") or "").split()
    version = max(v for v in there if v[0].isdigit() and v <= "2018-09-24")
    found = {}
    for line in (get(f"{url}/{version}/meta-data/") or "").splitlines():
        if not line.endswith("/"):
            key = line.replace("-", "_").partition("=")[0]
            found[key] = get(f"{url}/{version}/meta-data/{line}")
    return found["ami_id"]


READERS = (cloud_init, facter, ohai)

if __name__ == "__main__":
    for line in sys.stdin:
        url = line.strip()
        print(json.dumps({read.__name__: read(url) for read in READERS}))
