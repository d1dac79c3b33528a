#!/bin/bash
# Makes the database in an empty PGDATA from POSTGRES_* variables and the
# scripts in /docker-entrypoint-initdb.d, then runs the server as postgres.
set -eo pipefail

# setting NAME DEFAULT: the variable, or what the file named by NAME_FILE holds.
setting() {
	local name=$1 file=$1_FILE
	if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
		echo "error: both $name and $file are set" >&2
		exit 1
	fi
	local value=${!name:-${2:-}}
	if [ -n "${!file:-}" ]; then
		value=$(<"${!file}")
	fi
	export "$name=$value"
	unset "$file"
}

check() {
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		cat >&2 <<-'TEXT'
			error: the database is new and has no superuser password.
			Set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let anybody in.
		TEXT
		exit 1
	fi
}

sql() {
	PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" --dbname "${db-$POSTGRES_DB}" "$@"
}

run_scripts() {
	local f
	for f in /docker-entrypoint-initdb.d/*; do
		case $f in
		*.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
		*.sql) sql -f "$f" ;;
		*.sql.gz) gunzip -c "$f" | sql ;;
		*.sql.xz) xzcat "$f" | sql ;;
		*) [ -e "$f" ] && echo "$0: ignoring $f" ;;
		esac
	done
	return 0
}

make_database() {
	local password
	password=$(mktemp)
	printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
	local args=(--username="$POSTGRES_USER" --encoding=UTF8)
	if [ -n "$POSTGRES_PASSWORD" ]; then
		args+=(--pwfile="$password")
	fi
	eval "initdb -D \"\$PGDATA\" \"\${args[@]}\" ${POSTGRES_INITDB_ARGS:-} ${POSTGRES_INITDB_WALDIR:+--waldir \"\$POSTGRES_INITDB_WALDIR\"}"
	rm -f "$password"
	printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
	PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}" -w start
	if [ "$POSTGRES_DB" != postgres ]; then
		db=postgres sql -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	fi
	export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
	run_scripts
	PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -m fast -w stop
	unset PGPASSWORD
	echo 'PostgreSQL init process complete; ready for start up.'
}

if [ "${1:0:1}" = - ]; then
	set -- postgres "$@"
fi
if [ "$1" = postgres ]; then
	if [ "$(id -u)" = 0 ]; then
		mkdir -p "$PGDATA" /var/run/postgresql
		chmod 700 "$PGDATA"
		chmod 3775 /var/run/postgresql || :
		find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
		find /var/run/postgresql \! -user postgres -exec chown postgres '{}' + || :
		exec gosu postgres "$BASH_SOURCE" "$@"
	fi
	mkdir -p "$PGDATA"
	chmod 700 "$PGDATA" || :
	setting POSTGRES_PASSWORD
	setting POSTGRES_USER postgres
	setting POSTGRES_DB "$POSTGRES_USER"
	setting POSTGRES_INITDB_ARGS
	: "${POSTGRES_HOST_AUTH_METHOD:=}"
	if [ -s "$PGDATA/PG_VERSION" ]; then
		echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
	else
		check
		make_database
	fi
fi
exec "$@"
