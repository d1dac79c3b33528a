#!/bin/bash
# Makes the database in an empty /var/lib/mysql from MARIADB_* or MYSQL_*
# variables and the scripts in /docker-entrypoint-initdb.d, then runs the
# server as mysql.
set -eo pipefail
data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock

# setting NAME: MARIADB_NAME or MYSQL_NAME, or what the file of NAME_FILE holds.
setting() {
	local prefix name file
	for prefix in MARIADB MYSQL; do
		name=${prefix}_$1 file=${prefix}_$1_FILE
		if [ -n "${!name:-}" ]; then
			echo "${!name}"
			return
		elif [ -n "${!file:-}" ]; then
			cat "${!file}"
			return
		fi
	done
}

# quoted TEXT: as an SQL string.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/\\\\'/g")"; }

make_database() {
	local root database user password f
	root=$(setting ROOT_PASSWORD) database=$(setting DATABASE) user=$(setting USER) password=$(setting PASSWORD)
	if [ -z "$root$(setting ALLOW_EMPTY_ROOT_PASSWORD)$(setting ALLOW_EMPTY_PASSWORD)$(setting RANDOM_ROOT_PASSWORD)" ]; then
		echo 'error: the database is new and has no root password: set MARIADB_ROOT_PASSWORD (or MYSQL_ROOT_PASSWORD)' >&2
		exit 1
	fi
	if [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
		root=$(head -c 24 /dev/urandom | base64)
		echo "generated root password: $root"
	fi
	mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
	"$@" --skip-networking --socket="$socket" &
	local pid=$!
	local tries=0
	until mariadb-admin --socket="$socket" -uroot ping >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 300 ] || ! kill -0 $pid; then
			exit 1
		fi
		sleep 0.2
	done
	{
		if [ -n "$database" ]; then echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"; fi
		if [ -n "$user" ]; then
			echo "CREATE USER IF NOT EXISTS $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
			if [ -n "$database" ]; then echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quoted "$user")@'%';"; fi
		fi
		echo "CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY $(quoted "$root");"
		echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
		echo "SET PASSWORD FOR 'root'@'localhost' = PASSWORD($(quoted "$root"));"
	} | mariadb --socket="$socket" -uroot mysql
	local client=(mariadb --socket="$socket" -uroot ${root:+"-p$root"} ${database:+"$database"})
	for f in /docker-entrypoint-initdb.d/*; do
		case $f in
		*.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
		*.sql) "${client[@]}" <"$f" ;;
		*.sql.gz) gunzip -c "$f" | "${client[@]}" ;;
		esac
	done
	mariadb-admin --socket="$socket" -uroot ${root:+"-p$root"} shutdown
	wait $pid
}

if [ "${1:0:1}" = - ]; then
	set -- mariadbd "$@"
fi
if [ "$1" = mysqld ] || [ "$1" = mariadbd ]; then
	if [ "$(id -u)" = 0 ]; then
		mkdir -p "$data" /run/mysqld
		find "$data" /run/mysqld \! -user mysql -exec chown mysql '{}' +
		exec gosu mysql "$BASH_SOURCE" "$@"
	fi
	# Options of MySQL that MariaDB does not know.
	args=()
	for a; do
		case $a in
		--default-authentication-plugin=* | --mysql-native-password=*) ;;
		*) args+=("$a") ;;
		esac
	done
	set -- "${args[@]}"
	if [ ! -d "$data/mysql" ]; then
		make_database "$@"
	fi
fi
exec "$@"
