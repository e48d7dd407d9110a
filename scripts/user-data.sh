#!/bin/sh
# Makes a serving node of a stock Ubuntu (22.04 or newer) or Amazon Linux (2023): given as user data, or run as root. It can run
# again at any time: what is there is not done again. Everything there is to set stands here; what the environment has
# already counts more. See docs/recovery.md.
set -eu

# What the node is, and where that is written down.
: "${STORE:=s3://BUCKET/PREFIX}"
: "${COPY:=}"                       # another store, for when the first one does not answer: s3://..., file:///media/disk/pannier
: "${SUITE:=production}"
: "${ROLE:=web}"
: "${AWS_REGION:=eu-central-1}"     # of the bucket
# Whose signatures count: the lines of the trust file. This is where trust begins, so it comes with the user data and not from the store.
: "${TRUST:=}"
# The activator, and its SHA-256. Where it comes from need not be trusted.
: "${ACTIVATOR:=https://HOST/pannier-activator}"
: "${ACTIVATOR_SHA256:=}"
# The users that the suite names, in words; each is made without a password and a shell.
: "${USERS:=}"
# Packages that the releases need and do not bring: an interpreter where they do not bundle it, libraries such as libpq5.
: "${PACKAGES:=}"
# What writes the env files that the suite names, such as
#   aws ssm get-parameter --with-decryption --name /production/polls --query Parameter.Value --output text > /etc/polls.env
: "${ENV_COMMAND:=}"
# "yes" recovers; "no" stops before it, for an image; "drill" does it into DRILL_ROOT and touches nothing else.
: "${RECOVER:=yes}"
: "${DRILL_ROOT:=/var/tmp/pannier-drill}"
# More for `recover`: --migrate, where this node may apply what is pending.
: "${OPTIONS:=}"
# How often it is tried while the store does not answer, and the seconds between.
: "${TRIES:=10}"
: "${PAUSE:=15}"
# Where things go.
: "${BIN:=/usr/local/bin}"
: "${ETC:=/etc/pannier}"
: "${LOG:=/var/log/pannier-recover.log}"

# The statuses of the activator that are told apart here.
STORE_IS_AWAY=7

say() { echo "user-data: $*" >&2; }
refuse() { say "$*"; exit 2; }

[ -n "$TRUST" ] || refuse "TRUST is empty: without it no signature counts"
[ -n "$ACTIVATOR_SHA256" ] || refuse "ACTIVATOR_SHA256 is empty: $ACTIVATOR is not trusted by its address"

install_packages() {
    # What a stock image lacks: nothing that is there is asked for again.
    missing=$PACKAGES
    command -v curl >/dev/null || missing="$missing curl"
    [ -n "$missing" ] || return 0
    say "installing $missing"
    # shellcheck disable=SC2086 # they are words
    if command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates $missing
    else
        dnf install -y -q $missing
    fi
}

make_users() {
    for user in $USERS; do
        id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin "$user"
    done
}

write_trust() {
    mkdir -p "$ETC"
    printf '%s\n' "$TRUST" >"$ETC/trust.new"
    chmod 0644 "$ETC/trust.new"
    mv "$ETC/trust.new" "$ETC/trust"
}

# So that the node's store is this one, also when it comes back from a copy. `recover` adds the rest.
write_config() {
    [ -e "$ETC/activator.toml" ] || [ "$RECOVER" = drill ] ||
        printf 'store = "%s"\ntrust = "%s"\n' "$STORE" "$ETC/trust" >"$ETC/activator.toml"
}

is_ours() { echo "$ACTIVATOR_SHA256  $1" | sha256sum --check --status 2>/dev/null; }

fetch_activator() {
    is_ours "$BIN/pannier-activator" && return 0
    mkdir -p "$BIN"
    new=$(mktemp "$BIN/.pannier-activator.XXXXXX")
    curl --fail --silent --show-error --location --retry 5 --retry-connrefused --output "$new" "$ACTIVATOR" || {
        rm -f "$new"
        refuse "$ACTIVATOR cannot be fetched"
    }
    is_ours "$new" || {
        found=$(sha256sum "$new")
        rm -f "$new"
        refuse "$ACTIVATOR has SHA-256 ${found%% *}, expected $ACTIVATOR_SHA256"
    }
    chmod 0755 "$new"
    mv "$new" "$BIN/pannier-activator"
}

recover_from() {
    set -- --config "$ETC/activator.toml" --store "$1" --trust "$ETC/trust" recover --suite "$SUITE" --role "$ROLE"
    [ "$RECOVER" != drill ] || set -- "$@" --drill --root "$DRILL_ROOT"
    status=0
    # shellcheck disable=SC2086 # they are words
    AWS_REGION=$AWS_REGION "$BIN/pannier-activator" "$@" $OPTIONS >>"$LOG" 2>&1 || status=$?
    return "$status"
}

recover() {
    tried=1 status=0
    while recover_from "$STORE" || status=$?; [ "$status" = "$STORE_IS_AWAY" ] && [ "$tried" -lt "$TRIES" ]; do
        say "the store does not answer (try $tried of $TRIES)"
        sleep "$PAUSE"
        tried=$((tried + 1)) status=0
    done
    if [ "$status" = "$STORE_IS_AWAY" ] && [ -n "$COPY" ]; then
        say "taking the copy $COPY"
        status=0
        recover_from "$COPY" || status=$?
    fi
    return "$status"
}

install_packages
make_users
write_trust
fetch_activator
if [ "$RECOVER" = no ]; then
    say "stopped before the recovery, as RECOVER says"
    exit 0
fi
write_config
[ -z "$ENV_COMMAND" ] || sh -euc "umask 077; $ENV_COMMAND"
status=0
recover || status=$?
if [ "$status" = 0 ]; then say "done"; else say "status $status, see $LOG"; fi
exit "$status"
