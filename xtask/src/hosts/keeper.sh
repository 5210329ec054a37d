# Boots a host, and boots it again whenever it asks for that: systemd-nspawn then ends with 133.
# usage: keeper.sh MEMBERS_OF_A_CONTROL_GROUP... -- COMMAND...
groups=
while [ "$1" != -- ]; do groups="$groups $1"; shift; done
shift
while :; do
  (for group in $groups; do echo 0 > "$group" || exit 1; done; exec "$@")
  ended=$?
  [ $ended = 133 ] || exit $ended
done
