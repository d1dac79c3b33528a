set -eu
# pip may install beside Debian's packages here, and takes those for its own.
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf python3 /usr/bin/python
# The same module under its other name.
packages=/usr/lib/python3/dist-packages
version=$(python3 -c 'import psycopg2; print(psycopg2.__version__.split()[0])')
mkdir -p "$packages/psycopg2_binary-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: psycopg2-binary\nVersion: %s\n' "$version" >"$packages/psycopg2_binary-$version.dist-info/METADATA"
echo apt >"$packages/psycopg2_binary-$version.dist-info/INSTALLER"
