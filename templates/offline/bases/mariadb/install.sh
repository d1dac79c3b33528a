set -eu
rm -rf /var/lib/mysql
mkdir -p /var/lib/mysql /run/mysqld /docker-entrypoint-initdb.d
chown -R mysql:mysql /var/lib/mysql /run/mysqld
chmod 1777 /run/mysqld
printf '[mariadbd]\nbind-address = 0.0.0.0\nskip-name-resolve\nskip-host-cache\nlog_error =\n' >/etc/mysql/mariadb.conf.d/90-berth.cnf
command -v mysqld >/dev/null || ln -s mariadbd /usr/sbin/mysqld
