set -eu
usermod --home /var/lib/postgresql --shell /bin/bash postgres
rm -rf /var/lib/postgresql/15 /etc/postgresql/15
mkdir -p /var/lib/postgresql/data /var/run/postgresql /docker-entrypoint-initdb.d
chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql
chmod 1777 /var/lib/postgresql/data
chmod 3777 /var/run/postgresql
echo "listen_addresses = '*'" >>/usr/share/postgresql/15/postgresql.conf.sample
