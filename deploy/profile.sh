# What login shells on a cluster's hosts begin with; the setup commands of the cluster files put it into ~/.bashrc.
export PATH="$HOME/pamiq-engram/.venv/bin:$PATH"
if [ -r "$HOME/engram-keys/learner.env" ]; then
    set -a
    . "$HOME/engram-keys/learner.env"
    set +a
fi
