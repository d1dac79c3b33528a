# Runs last: what no container needs.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
	/var/cache/ldconfig /var/cache/debconf/*-old /tmp/* /root/.npm /root/.cache
