# Completion of mini-docker for bash. The program itself says what may be typed.
_mini_docker() {
    local line="${COMP_LINE:0:COMP_POINT}" words word kept value text IFS=$' \t\n'
    read -ra words <<< "$line"
    # Behind a blank a new word begins.
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]} - 1]}"
    # Bash replaces only what follows the last of these.
    kept="${word%"${word##*[=:]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r value text; do
        if [[ $value == ":files" ]]; then
            while read -r value; do
                [[ -d ${value/#\~/$HOME} ]] && value+=/
                COMPREPLY+=("$value")
            done < <(compgen -f -- "${word#"$kept"}")
        else
            COMPREPLY+=("${value#"$kept"}")
        fi
    done < <("${words[0]}" __complete "${words[@]:1}" 2> /dev/null)
    # A word that goes on.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -F _mini_docker mini-docker
