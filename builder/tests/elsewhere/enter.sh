#!/bin/sh
# Runs a command as on another machine: another folder on a file system that lists its files in another order, another
# user, host name and clock, one core, another umask. Started in mount and host name namespaces of its own.
#   enter.sh FILES PLACE BACK USER CLOCK COMMAND...
# FILES is copied to PLACE, where the command runs, and what is in PLACE/dist then comes BACK. USER is a number, or
# empty where nobody else can be had. CLOCK is a library that every program gets, whatever its variables are.
set -eu
files=$1 place=$2 back=$3 user=$4 clock=$5
shift 5
mount -t tmpfs -o mode=0755 tmpfs "$place"
# The last comes first, so that a tmpfs lists everything the other way round.
(cd "$files" && find . -mindepth 1 | LC_ALL=C sort -r | tar -cf - --no-recursion -T -) | tar -xf - -C "$place"
find "$place" -exec touch -h -d 2001-02-03 {} +
[ -z "$user" ] || chown -R "$user:$user" "$place"
hostname elsewhere

layer=$place.etc
mkdir "$layer"
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$layer/upper,workdir=$layer/work" overlay /etc
echo "$clock" >/etc/ld.so.preload

cd "$place"
core=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
umask 077
as=
[ -z "$user" ] || as="setpriv --reuid $user --regid $user --clear-groups"
# shellcheck disable=SC2086
taskset -c "$core" $as "$@"
cp -r dist/. "$back"
