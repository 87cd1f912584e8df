#compdef mini-docker
# Completion of mini-docker for zsh. The program itself says what may be typed.
_mini-docker() {
    local value text files
    local -a before whole open
    before=("${(@Q)words[2,CURRENT-1]}")
    while IFS=$'\t' read -r value text; do
        case $value in
            :files) files=1 ;;
            *[=:]) open+=("$value") ;;
            *) whole+=("${value//:/\\:}${text:+:$text}") ;;
        esac
    done < <("${words[1]}" __complete "${before[@]}" "${(Q)PREFIX}" 2> /dev/null)
    (( $#whole )) && _describe 'mini-docker' whole
    (( $#open )) && compadd -S '' -- "${open[@]}"
    [[ -n $files ]] && _files
    return 0
}
if [[ $funcstack[1] == _mini-docker ]]; then
    _mini-docker "$@"
else
    compdef _mini-docker mini-docker
fi
