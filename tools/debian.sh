# What unpacks packages of another Debian beside the machine's, for the programs
# of this directory that source it from the tree's root. Nothing is installed, nor run
# here: the packages get a root directory of their own, and `enter` beside it
# runs a program there, which sees this machine's /tmp, /proc, /dev and where
# it is run.
# shellcheck shell=sh

. tools/lib.sh

keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Runs apt-get with lists of its own, for a machine that has no packages.
apt_of_its_own() {
    apt-get -qq -o Dir::Etc="$scratch" -o Dir::Etc::SourceParts=none \
        -o Dir::State="$scratch" -o Dir::State::status="$scratch/status" \
        -o Dir::Cache="$scratch" -o APT::Sandbox::User="$(id -un)" "$@" >&2
}

unpack() { # suite what package…
    suite=$1
    mirror=$(find_mirror)
    say "Unpacking $2 into $venv"
    shift 2
    rm -rf "$venv"
    mkdir -p "$venv/root" "$scratch/lists/partial" \
        "$scratch/archives/partial" "$scratch/preferences.d"
    : >"$scratch/status"
    echo "deb [signed-by=$keys] $mirror $suite main" >"$scratch/sources.list"
    apt_of_its_own update
    # Without what Debian takes for granted, little is there.
    apt_of_its_own install --yes --download-only --no-install-recommends \
        base-files coreutils dash grep sed "$@"
    for package in "$scratch"/archives/*.deb; do
        dpkg-deb --extract "$package" "$venv/root"
    done
    mkdir -p "$venv/root/boot" "$venv/root/etc/ssl/certs"
    : >"$venv/root/etc/resolv.conf"
    cp /etc/hosts /etc/passwd /etc/group "$venv/root/etc/"
}

write_enter() {
    cat >"$venv/enter" <<'END'
#!/bin/sh
# Runs a program in the root directory beside this file.
set -eu
if [ "${EC2MAP_SYNC_ENTERED:-}" != yes ]; then
    [ "$(id -u)" -eq 0 ] || as_root=--map-root-user
    EC2MAP_SYNC_ENTERED=yes exec unshare --mount ${as_root:-} "$0" "$@"
fi
unset EC2MAP_SYNC_ENTERED
root=$(dirname -- "$0")/root
here=$PWD
mount --rbind "$root" "$root"
for place in /dev /proc /sys /tmp "$here"; do
    mkdir -p "$root$place"
    mount --rbind "$place" "$root$place"
done
# Whom this machine trusts, and whom it asks for names.
for place in /etc/ssl/certs /etc/resolv.conf /etc/hosts; do
    [ ! -e "$root$place" ] || mount --bind "$place" "$root$place"
done
cd "$root"
# Not chroot, behind which nobody may become another user than this one.
pivot_root . boot
exec /bin/sh -c 'cd "$0" && exec "$@"' "$here" "$@"
END
    chmod +x "$venv/enter"
}

# Makes $venv what it should be, and prints where that is.
provide() { # suite what package…
    stamp=$(cat "tools/$(basename -- "$0")" tools/debian.sh | cksum)
    is_made || {
        unpack "$@"
        write_enter
        printf '%s\n' "$stamp" >"$venv/stamp"
    }
    printf '%s\n' "$venv"
}
