# Completion of mini-docker for fish. The program itself says what may be typed.
function __mini_docker_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$typed" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$typed"
        else
            echo $line
        end
    end
end
complete -c mini-docker -f -a '(__mini_docker_complete)'
