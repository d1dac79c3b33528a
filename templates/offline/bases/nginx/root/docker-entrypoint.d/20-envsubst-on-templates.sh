#!/bin/sh
# Writes each template to the configuration folder with the environment's
# variables filled in.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
out=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
# Only variables that exist are filled in: nginx has its own with a dollar sign.
names=$(env | cut -d= -f1 | grep -E "${NGINX_ENVSUBST_FILTER:-.}" | sed 's/.*/${&}/' | tr '\n' ' ')
find "$templates" -follow -type f -name "*$suffix" | while read -r t; do
	to=$out/${t#"$templates"/}
	to=${to%"$suffix"}
	mkdir -p "$(dirname "$to")"
	envsubst "$names" <"$t" >"$to"
done
