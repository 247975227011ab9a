/* A parser of fields, each with its length in four bytes before it, as somebody wrote it in a hurry. */
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The planted overflow: whether there is as much, and room for it, was never asked. */
static void copy_field(char *to, const unsigned char *from, size_t length) {
    for (size_t i = 0; i < length; i++)
        to[i] = (char)from[i];
}

/* What an intruder would do, once the overflow has given him the say. */
static void follow_orders(const char *path) {
    int file = open(path, O_RDONLY);
    if (file >= 0)
        close(file);
}

/* How many fields there are. */
long count_fields(const unsigned char *input, size_t length) {
    char *field = malloc(64);
    size_t at = 0;
    long n_fields = 0;
    while (at + 4 <= length) {
        unsigned claimed;
        memcpy(&claimed, input + at, 4);
        copy_field(field, input + at + 4, claimed);
        if (claimed > 0 && field[0] == '/') {
            field[claimed] = 0;
            follow_orders(field);
        }
        at += 4 + claimed;
        n_fields++;
    }
    free(field);
    return n_fields;
}
