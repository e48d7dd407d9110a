# Puts this release's Python first in PATH: `. venv/bin/activate`, from anywhere in bash, zsh and ksh; in other shells,
# which do not say what they read, from the release's folder, from `venv` or from `venv/bin`. `deactivate` takes it back.
if [ -n "${BASH_VERSION-}" ]; then
    _pannier_script=${BASH_SOURCE-}
elif [ -n "${ZSH_VERSION-}" ]; then
    eval '_pannier_script=${(%):-%x}'
elif [ -n "${KSH_VERSION-}" ]; then
    eval '_pannier_script=${.sh.file-}' 2>/dev/null || _pannier_script=
else
    _pannier_script=
fi
for _pannier_folder in venv/bin bin .; do
    if [ -z "$_pannier_script" ] && [ -f "$_pannier_folder/activate" ] && [ -x "$_pannier_folder/python" ]; then
        _pannier_script=$_pannier_folder/activate
    fi
done
if [ -z "$_pannier_script" ]; then
    echo "activate: this shell does not say where the script lies; change to the release's folder first" >&2
    unset _pannier_script _pannier_folder
    false
else
    if command -v deactivate >/dev/null 2>&1; then deactivate; fi
    # The release itself, not `current`: a switch must not change what a shell runs halfway through.
    VIRTUAL_ENV=$(dirname -- "$(dirname -- "$(realpath -- "$_pannier_script")")")
    VIRTUAL_ENV_PROMPT=$(basename -- "$(dirname -- "$VIRTUAL_ENV")")
    _PANNIER_OLD_PATH=$PATH
    _PANNIER_OLD_PS1=${PS1-}
    PATH=$VIRTUAL_ENV/bin:$PATH
    PS1="($VIRTUAL_ENV_PROMPT) ${PS1-}"
    export VIRTUAL_ENV VIRTUAL_ENV_PROMPT PATH
    unset PYTHONHOME _pannier_script _pannier_folder
    deactivate() {
        PATH=$_PANNIER_OLD_PATH
        PS1=$_PANNIER_OLD_PS1
        unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT _PANNIER_OLD_PATH _PANNIER_OLD_PS1
        unset -f deactivate
    }
fi
