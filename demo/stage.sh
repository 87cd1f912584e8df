# shellcheck shell=bash
# What demo/tour stands on: what it needs, where it runs, how it speaks, and how it ends. Sourced by demo/tour.

# ---------------------------------------------------------------- before the tour

prepare() {
    if [[ -z ${MINI_DOCKER:-} ]]; then
        command -v cc >/dev/null || install "a C compiler, to build mini-docker" gcc libc6-dev
        build
    fi
    MINI_DOCKER=$(realpath "$MINI_DOCKER")
    [[ -x $MINI_DOCKER ]] || stop "no program: $MINI_DOCKER"
    static_busybox || install "a static busybox, for the image" busybox-static
    static_busybox || stop "there is no static busybox on this machine"
}

static_busybox() {
    local path
    path=$(command -v busybox) && ! ldd "$path" >/dev/null 2>&1
}

# install <what for> <package>...
install() {
    local for=$1 as_root=()
    shift
    command -v apt-get >/dev/null || stop "missing: $for. Without apt-get, install it yourself: $*"
    ((EUID == 0)) || as_root=(sudo)
    say "Installing $* ($for)."
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${as_root[@]}" update >/dev/null || say "apt-get update failed; trying with the lists that are here."
    # --no-remove: busybox-static would take the place of a busybox that somebody wants.
    "${as_root[@]}" install -y --no-remove --no-install-recommends "$@" >/dev/null ||
        stop "apt-get could not install: $*"
}

build() {
    local host
    PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null ||
        stop "there is no cargo. Install Rust from https://rustup.rs; if you have it, run this without sudo"
    say 'Building: cargo build --release -p mini-docker'
    (cd "$PROJECT" && cargo build --quiet --release -p mini-docker) || stop "the build failed"
    host=$(cd "$PROJECT" && rustc -vV | sed -n 's/^host: //p')
    MINI_DOCKER=$(cd "$PROJECT" && realpath "${CARGO_TARGET_DIR:-target}")/$host/release/mini-docker
}

# Runs this script again as root, in a mount and a network namespace of its own: the bridge, the port and the packet
# forwarding of this tour are then not the machine's.
enter() {
    local variables=("MINI_DOCKER=$MINI_DOCKER" ${NO_COLOR+"NO_COLOR=$NO_COLOR"}) private
    if ((EUID != 0)); then
        command -v sudo >/dev/null || stop "containers need root here, and there is no sudo: run this as root"
        say "Containers need root: going on with sudo."
        exec sudo env "${variables[@]}" "$SELF" "$@"
    fi
    private=(unshare --mount --net --propagation private)
    if "${private[@]}" true 2>/dev/null; then
        say "The tour runs in a network and a mount namespace of its own: nothing of this machine is changed."
        exec "${private[@]}" env "${variables[@]}" TOUR_STAGE=private "$SELF" "$@"
    fi
    say "There is no unshare(1) that works here: the tour uses this machine's own network and its port" \
        "$WEB_PORT. It takes its bridge away at the end; IP forwarding stays on."
    exec env "${variables[@]}" TOUR_STAGE=shared "$SELF" "$@"
}

# ---------------------------------------------------------------- words

colours() {
    BOLD='' DIM='' RED='' GREEN='' PLAIN=''
    if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
        BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[1;31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
    fi
}

say() { printf '%s\n' "$*"; }
show() { sed 's/^/    /'; }
stop() {
    printf 'tour: %s\n' "$*" >&2
    exit 2
}

title() { printf '\n%s%-14s %s%s\n' "$BOLD" "$1" "$2" "$PLAIN"; }

# typed <command> <argument>...: the command as one would type it.
typed() {
    local word line=''
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=,%+\&-]+$ ]] || [[ $word == '#'* ]] || word="'$word'"
        line+=" $word"
    done
    printf '  %s$%s%s\n' "$DIM" "$line" "$PLAIN"
}

# run <argument>...: shows and runs mini-docker; leaves OUT, ERR and CODE. With only=REGEX, shows only those lines.
run() {
    typed mini-docker "$@"
    quietly "$@"
    printf '%s\n' "$OUT" "$ERR" | grep -E "${only:-.}" | show
    ((CODE == 0)) || say "    (exit code $CODE)"
}

quietly() {
    CODE=0
    OUT=$("$MINI_DOCKER" "$@" 2>"$WORK/stderr" </dev/null) || CODE=$?
    ERR=$(<"$WORK/stderr")
}

# A proof is the exit status of the command before it: [[ condition ]]; proof $? 'what was checked'
proof() {
    local held=$1
    shift
    PROOFS=$((PROOFS + 1))
    if ((held == 0)); then
        HELD=$((HELD + 1))
        printf '  proof: %sok%s      %s\n' "$GREEN" "$PLAIN" "$1"
    else
        printf '  proof: %sFAILED%s  %s\n' "$RED" "$PLAIN" "$1"
    fi
}

# ---------------------------------------------------------------- after the tour

set_up() {
    WORK=$(mktemp -d /tmp/mini-docker-tour.XXXXXX) || stop 'no place in /tmp'
    if [[ $TOUR_STAGE == private ]]; then
        # On memory: gone with the namespace, whatever happens.
        mount -t tmpfs -o mode=700 tour "$WORK" || stop "cannot mount a tmpfs on $WORK"
        busybox ifconfig lo up
    fi
    export MINI_DOCKER_ROOT=$WORK/root MINI_DOCKER_RUN_ROOT=$WORK/run
}

# The folder of cgroups that mini-docker made for this tour; there must be a running container.
our_cgroup() {
    local id
    id=$("$MINI_DOCKER" ps -q --no-trunc)
    find /sys/fs/cgroup -type d -name "${id:-none}" 2>/dev/null | head -n 1 | sed 's:/[^/]*$::; s:.*/::'
}

# What a container could leave behind: a line each, "<kind> <name>".
state() {
    sed 's/^\([^ ]* \)\{4\}\([^ ]*\).*/mount \2/' /proc/self/mountinfo
    sed -n 's/^ *\([^:]*\):.*/link \1/p' /proc/self/net/dev
    find /sys/fs/cgroup -type d -path "*/${OUR_CGROUP:-none}/*" -printf 'cgroup %p\n' 2>/dev/null
    find "$MINI_DOCKER_ROOT"/{containers,names,volumes,layers/tmp,images/tmp} "$MINI_DOCKER_RUN_ROOT/containers" \
        -mindepth 1 -maxdepth 1 -not -name '*lock' -printf 'file %p\n' 2>/dev/null
    local process
    for process in /proc/[0-9]*; do # supervisors; the containers' own processes are in the cgroups
        grep -qs "MINI_DOCKER_ROOT=$MINI_DOCKER_ROOT" "$process/environ" && echo "process $process"
    done 2>/dev/null
}

# count <kind> <state>
count() { grep -c "^$1 " <<<"$2"; }

# shellcheck disable=SC2317,SC2329  # called by a trap
clean_up() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    [[ -n $WORK ]] || exit "$code"
    [[ -n $WEB ]] && kill "$WEB" 2>/dev/null && wait "$WEB"
    local left
    left=$("$MINI_DOCKER" ps -aq 2>/dev/null)
    # shellcheck disable=SC2086  # one word for each container
    [[ -n $left ]] && "$MINI_DOCKER" rm -f $left >/dev/null 2>&1
    mountpoint -q "$WORK" && umount -l "$WORK"
    rm -rf --one-file-system "$WORK"
    exit "$code"
}
