# Shared by the programs of this directory, which source it from the tree's
# root.
# shellcheck shell=sh

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONHOME PYTHONPATH

say() {
    printf '%s\n' "$*" >&2
}

die() { # status message…
    status=$1
    shift
    say "$(basename -- "$0"): $*"
    exit "$status"
}

# Sets $python to the first Python that is new enough and runs: the shims of
# version managers are on PATH also where there is nothing behind them.
find_python() {
    for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$name" ] || continue
        python=$("$name" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(sys.executable)' 2>/dev/null) && [ -n "$python" ] && return
    done
    die 2 "no Python 3.11 or later found; install one or set PYTHON"
}

# Prints the Debian packages that bindep.txt lists for a profile.
listed_packages() { # profile
    sed -n "s/^\([a-z0-9][a-z0-9.+-]*\) *\[[^]]*\<$1\>[^]]*\].*/\1/p" \
        bindep.txt
}

is_installed() { # package
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in
        ?i*) return 0 ;;
        *) return 1 ;;
    esac
}

# Runs apt-get as root; $become is empty or "sudo -n".
run_apt() {
    # shellcheck disable=SC2086  # $become is words
    $become env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}

# Installs Debian packages, or says in one line which are missing.
ensure_packages() { # package…
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    if ! command -v apt-get >/dev/null; then
        die 2 "missing, and here is no apt-get to install them:$missing"
    elif [ "$(id -u)" -eq 0 ]; then
        become=
    elif sudo -n true 2>/dev/null; then
        become='sudo -n'
    else
        die 2 "missing packages:$missing; run:" \
            "sudo apt-get install --no-install-recommends$missing"
    fi

    say "Installing$missing"
    # shellcheck disable=SC2086  # $missing is words
    if ! apt-cache show $missing >/dev/null 2>&1; then
        run_apt update
    fi
    # Lists that are there may be too old: fetch them, and try once more.
    # shellcheck disable=SC2086
    run_apt install --yes --no-install-recommends $missing || {
        run_apt update
        run_apt install --yes --no-install-recommends $missing
    } || die 1 "apt-get could not install:$missing"
}

can_make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

# Installs what bindep.txt lists for the profiles, and what $python needs to
# make virtual environments: Debian keeps that in a package of its own.
ensure_profiles() { # [profile…]
    needed=
    can_make_venv || needed=$(listed_packages base)
    for profile in "$@"; do
        needed="$needed $(listed_packages "$profile")"
    done
    # shellcheck disable=SC2086  # $needed is words
    ensure_packages $needed
    # A Python beside the distribution's default one has its own package.
    can_make_venv || ensure_packages "$("$python" -c 'import sys
print("python{}.{}-venv".format(*sys.version_info))')"
}

# Leaves the tree's wheel, built outside the tree, as $wheel, and its $version.
build_wheel() {
    mkdir "$scratch/source"
    tar --create --exclude=__pycache__ --exclude='*.egg-info' \
        setup.cfg pyproject.toml LICENSE README* ec2map_sync |
        tar --extract --directory="$scratch/source"
    "$venv/bin/pip" wheel -qq --no-deps --no-build-isolation \
        --wheel-dir="$scratch" "$scratch/source"
    wheel=$(ls "$scratch"/*.whl)
    version=${wheel##*/ec2map_sync-}
    version=${version%%-*}
}

# Tells whether $venv is what $stamp says.
is_made() {
    [ "$stamp" = "$(cat "$venv/stamp" 2>/dev/null)" ]
}

# Makes $venv anew, empty; whoever has filled it writes the stamp.
make_venv() {
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        die 2 "$venv is in the way: it is not a virtual environment"
    fi
    say "Installing into $venv"
    "$python" -m venv --clear "$venv"
}

# Makes $venv anew, with what builds the tree's wheel.
make_builder() {
    make_venv
    "$venv/bin/pip" install -qq --constraint=constraints.txt setuptools
}

# Builds the tree's wheel in a $venv that has nothing else.
build_only() {
    stamp=$(
        cksum <constraints.txt
        printf '%s\n' "$python" "$venv"
    )
    is_made || {
        make_builder
        printf '%s\n' "$stamp" >"$venv/stamp"
    }
    build_wheel
}

# Leaves in a directory, as wheels, all that a Python of some version is to
# install on this kind of machine: the tree, what it needs, and a pip for that.
fetch_wheels() { # directory version
    machine=$(uname -m)
    "$venv/bin/pip" download -qq --only-binary=:all: \
        --constraint=constraints.txt --dest="$1" --python-version="$2" \
        --platform="manylinux_2_17_$machine" \
        --platform="manylinux2014_$machine" \
        --platform="manylinux_2_28_$machine" \
        --platform="manylinux_2_34_$machine" \
        pip "${wheel}[api]"
}

# Sets the time of all that is built: that of the tree, not of the build.
find_time() {
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(
        git log -1 --format=%ct 2>/dev/null || stat --format=%Y setup.cfg
    )}
    export SOURCE_DATE_EPOCH
}

# Prints the mirror from which this machine has its own packages.
find_mirror() {
    # shellcheck disable=SC2016  # apt's own names
    found=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [ -n "$found" ] || die 2 "apt-get knows no mirror of Debian's"
    printf '%s\n' "$found"
}

# Installs the tree, as a wheel and with its dependencies, into $venv. The
# environment is made anew when something that decides its contents changed.
install_tree() { # extras, such as "[test]", or nothing
    stamp=$(
        cat setup.cfg pyproject.toml constraints.txt | cksum
        printf '%s\n' "$python" "$venv" "$1"
    )
    if is_made; then
        build_wheel
        "$venv/bin/pip" install -qq --no-deps --force-reinstall "$wheel"
        return
    fi

    make_builder
    build_wheel
    "$venv/bin/pip" install -qq --constraint=constraints.txt "$wheel$1"
    printf '%s\n' "$stamp" >"$venv/stamp"
}

# Installs OpenStack's own programs into $venv, unless they are there.
install_openstack() {
    stamp=$(
        cat tests/openstack/requirements.txt tests/openstack/constraints.txt |
            cksum
        "$python" --version
        printf '%s\n' "$venv"
    )
    is_made && return

    make_venv
    # Of its thousands of modules, few are ever imported.
    "$venv/bin/pip" install -qq --no-compile \
        --constraint=tests/openstack/constraints.txt \
        --requirement=tests/openstack/requirements.txt
    printf '%s\n' "$stamp" >"$venv/stamp"
}

# Sets $venv and $scratch; two runs in one environment wait for each other.
prepare() { # name
    venv=${EC2MAP_SYNC_VENV:-$PWD/.venv/$1}
    case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$(dirname -- "$venv")"
    exec 9>"$venv.lock"
    flock --nonblock 9 || {
        say "Waiting for another run in $venv"
        flock 9
    }
}
