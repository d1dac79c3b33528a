#!/bin/sh
# Runs the scripts of /docker-entrypoint.d before nginx.
set -e
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
	for f in /docker-entrypoint.d/*; do
		case $f in
		*.envsh) if [ -x "$f" ]; then . "$f"; fi ;;
		*.sh) if [ -x "$f" ]; then "$f"; fi ;;
		esac
	done
fi
exec "$@"
