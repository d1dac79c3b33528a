set -eu
rm -rf /etc/nginx/sites-enabled /etc/nginx/sites-available /var/www
mkdir -p /usr/share/nginx/html /var/cache/nginx /etc/nginx/templates
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
chown -R nginx:nginx /var/cache/nginx
